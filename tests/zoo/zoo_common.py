"""What zoo_public.py builds with.

A zoo script lists SOURCES (trained models that ship inside pip/npm packages) and
ARCHS (architectures built here with seeded weights), and calls main().
Nothing here knows a machine path: everything goes below the given output folder.
"""
import argparse, collections, concurrent.futures as cf, fnmatch, hashlib, inspect as pyinspect
import json, os, random, re, subprocess, sys, tarfile, time, traceback, warnings, zipfile

ARCHS = collections.OrderedDict()


def arch(name, family, dyn=None, alt=None, bn=True, seeds=0, ts=True, dynamo=True, ts_opset=None,
         fill=True, raw=False, note='', dyn_dynamo=True, dyn_ts=True, quant=()):
    """Registers a builder f() -> (module, inputs tuple, input names, output names).

    dyn: {input name: {axis: dim name}} for a second, dynamic export; alt: f(inputs) -> other inputs."""
    def deco(f):
        ARCHS[name] = dict(f=f, name=name, family=family, dyn=dyn, alt=alt, bn=bn, ts=ts, dynamo=dynamo,
                           ts_opset=ts_opset, fill=fill, raw=raw, note=note, dyn_dynamo=dyn_dynamo, dyn_ts=dyn_ts, quant=quant)
        return f
    return deco


# ---------------------------------------------------------------- weights
def seed_all(s):
    import numpy as np, torch
    random.seed(s); np.random.seed(s); torch.manual_seed(s)


def randomize(model, inputs, bn=True):
    """Makes every constant parameter non-trivial (zero biases, unit scales, 1e-6 layer scales, zero-init
    residual branches), then sets batch-norm statistics from data, so that a wrong operator shows in the output."""
    import torch
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if not p.is_floating_point() or p.numel() < 2: continue
            f = p.flatten()
            if not torch.all(f == f[0]): continue
            v = float(f[0]); r = torch.randn(p.shape, generator=g).to(p.dtype)
            if v == 0: p.copy_((0.05 if p.dim() < 2 else 0.02) * r)
            elif abs(v) < 0.2: p.copy_(0.3 + 0.1 * r)          # layer scales
            else: p.copy_(v * (1 + 0.1 * r))
        norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.running_mean is not None]
        if norms and bn:
            def hook(m, args):      # before a norm runs for the first time: statistics of what it sees
                x = args[0]; d = [0] + list(range(2, x.dim()))
                if x.numel() // x.shape[1] > 1: mean, var = x.mean(d), x.var(d, unbiased=False)
                else: mean = 0.5 * x.flatten(); var = torch.full_like(mean, float(x.pow(2).mean()))
                if x.numel() // x.shape[1] < 16: var = var + x.pow(2).mean()        # few samples: do not amplify
                m.running_mean.copy_(mean); m.running_var.copy_(torch.maximum(var, 0.1 * var.mean()).clamp_min(1e-8))
            model.eval()
            h = [m.register_forward_pre_hook(hook) for m in norms]
            model(*inputs)
            for x in h: x.remove()
    model.eval()
    return model


def flat(o):
    import torch
    if torch.is_tensor(o): return [o]
    if o is None or isinstance(o, (bool, int, float, str)): return []
    if hasattr(o, 'to_tuple'): o = o.to_tuple()
    if isinstance(o, dict): o = list(o.values())
    r = []
    for x in o: r += flat(x)
    return r


# ---------------------------------------------------------------- looking at ONNX
RNN = {'LSTM', 'GRU', 'RNN', 'com.microsoft::DynamicQuantizeLSTM'}
CTRL = {'If', 'Loop', 'Scan', 'SequenceMap'}
QUANT = ('QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'ConvInteger', 'MatMulInteger', 'QLinear', 'QGemm', 'DynamicQuantize')


def onnx_info(path):
    import onnx
    from onnx import TensorProto as T
    m = onnx.load(path)
    c = collections.Counter()

    def walk(nodes):
        for n in nodes:
            c[(n.domain + '::' if n.domain not in ('', 'ai.onnx') else '') + n.op_type] += 1
            for a in n.attribute:
                if a.type == onnx.AttributeProto.GRAPH: walk(a.g.node)
                for g in a.graphs: walk(g.node)
    walk(m.graph.node)
    fn = {(f.domain, f.name) for f in m.functions}
    for f in m.functions: walk(f.node)
    for d, n in fn: c.pop(d + '::' + n, None)
    ini = {i.name for i in m.graph.initializer}

    def vi(v):
        if not v.type.HasField('tensor_type'): return dict(name=v.name, dtype='not a tensor', shape=None)
        t = v.type.tensor_type
        return dict(name=v.name, dtype=T.DataType.Name(t.elem_type),
                    shape=[(d.dim_value if d.HasField('dim_value') else (d.dim_param or '?')) for d in t.shape.dim] if t.HasField('shape') else None)
    I = [vi(v) for v in m.graph.input if v.name not in ini]
    O = [vi(v) for v in m.graph.output]
    dynamic = any(s['shape'] is None or any(not isinstance(d, int) or d < 0 for d in s['shape']) for s in I)
    ext = sum(os.path.getsize(os.path.join(os.path.dirname(path), f)) for f in {e.value for i in m.graph.initializer for e in i.external_data if e.key == 'location'})
    return dict(bytes=os.path.getsize(path) + ext, opset={o.domain or 'ai.onnx': o.version for o in m.opset_import}.get('ai.onnx'),
                producer=(m.producer_name + ' ' + m.producer_version).strip(), ir=m.ir_version, functions=len(m.functions),
                ops=dict(sorted(c.items())), nodes=sum(c.values()), dynamic_input=dynamic,
                quantized=sorted(k for k in c if k.startswith(QUANT) or k.split('::')[-1].startswith(QUANT)),
                control_flow=sorted(set(c) & CTRL), recurrent=sorted(set(c) & RNN),
                contrib=sorted(k for k in c if '::' in k), inputs=I, outputs=O)


def ort_run(path, feeds, optimize=True):
    import onnxruntime as ort
    so = ort.SessionOptions(); so.log_severity_level = 3; so.intra_op_num_threads = 1
    if not optimize: so.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = ort.InferenceSession(path, so, providers=['CPUExecutionProvider'])
    want = {i.name for i in s.get_inputs()}
    return [o.name for o in s.get_outputs()], s.run(None, {k: v for k, v in feeds.items() if k in want})


def compare(ref, got):
    import numpy as np
    worst, rel, shape_ok = 0.0, 0.0, len(ref) <= len(got)
    for a, b in zip(ref, got):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape: shape_ok = False; continue
        if a.size == 0: continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        d = np.abs(a - b); d = d[np.isfinite(a)]
        if d.size:
            worst = max(worst, float(np.nan_to_num(d, nan=np.inf).max()))
            rel = max(rel, float(np.nan_to_num(d, nan=np.inf).max() / (np.abs(a[np.isfinite(a)]).max() + 1e-12)))
    return dict(shapes=shape_ok, max_abs=worst, max_rel=rel)


def synth(shape, rng):
    """A smooth picture in 0..1 with edges and blobs, NCHW or NHWC, so that detectors see structure."""
    import numpy as np
    nhwc = len(shape) == 4 and shape[-1] in (1, 3) and shape[1] not in (1, 3)
    n, c, h, w = (shape[0], shape[3], shape[1], shape[2]) if nhwc else shape
    y, x = np.mgrid[0:h, 0:w]; y = y / h; x = x / w
    out = np.zeros((n, c, h, w))
    for i in range(n):
        for j in range(c):
            v = 0.5 + 0.15 * np.sin(6.28 * (x * rng.uniform(.5, 3) + y * rng.uniform(.5, 3) + rng.random()))
            for _ in range(4):
                cx, cy, r = rng.random(), rng.random(), rng.uniform(.05, .3)
                v += rng.uniform(-.4, .4) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / r ** 2)
            for _ in range(3):
                x0, y0 = rng.random(), rng.random()
                v[(abs(x - x0) < rng.uniform(.02, .2)) & (abs(y - y0) < rng.uniform(.02, .2))] += rng.uniform(-.5, .5)
            out[i, j] = v
    out = np.clip(out + 0.02 * rng.standard_normal(out.shape), 0, 1)
    return out.transpose(0, 2, 3, 1) if nhwc else out


def make_feed(spec, seed=0):
    """spec: {input: (dtype, shape, kind)}; kind: 'n' normal, 'u' 0..1, ('i', lo, hi), ('c', constant), ('sine', f, sr), ('pcm',)"""
    import numpy as np
    rng = np.random.default_rng(seed); r = {}
    for k, (dt, shape, kind) in spec.items():
        if kind == 'n': v = rng.standard_normal(shape)
        elif kind == 'u': v = rng.random(shape)
        elif kind[0] == 'i': v = rng.integers(kind[1], kind[2], shape)
        elif kind[0] == 'c': v = np.broadcast_to(np.asarray(kind[1]), shape)
        elif kind[0] == 'scaled': v = rng.standard_normal(shape) * kind[1]
        elif kind[0] == 'img255': v = rng.random(shape) * 255
        elif kind[0] == 'tone':
            t = np.arange(int(np.prod(shape))) / kind[1]
            v = (0.4 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * 523 * t) + 0.02 * rng.standard_normal(t.shape)).reshape(shape) * kind[2]
        elif kind[0] == 'img': v = synth(shape, rng) * (kind[2] - kind[1]) + kind[1]
        elif kind[0] == 'arange': v = np.arange(int(np.prod(shape))).reshape(shape) % kind[1]
        else: raise ValueError(kind)
        r[k] = np.ascontiguousarray(v.astype(dt)) if np.ndim(v) else np.asarray(v, dt)
    return r


# ---------------------------------------------------------------- packages
def run(cmd, cwd=None, timeout=600):
    p = subprocess.run(cmd, cwd=cwd, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode: raise RuntimeError('%s: %s' % (' '.join(cmd[:6]), p.stdout[-400:]))
    return p.stdout


def fetch(req, dl):
    """req 'pip:name==version' or 'npm:name@version' -> archive path (kept in dl)."""
    kind, spec = req.split(':', 1)
    d = os.path.join(dl, re.sub(r'[^A-Za-z0-9.@=_-]', '_', kind + '_' + spec))
    os.makedirs(d, exist_ok=True)
    got = [f for f in os.listdir(d) if f.endswith(('.whl', '.tgz'))]
    if not got:
        if kind == 'pip':
            run([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:', '-d', d, spec])
        else:
            run(['npm', 'pack', '--silent', spec], cwd=d)
        got = [f for f in os.listdir(d) if f.endswith(('.whl', '.tgz'))]
    return os.path.join(d, got[0])


def read_member(archive, member):
    if archive.endswith('.whl'):
        with zipfile.ZipFile(archive) as z: return z.read(member)
    with tarfile.open(archive) as t: return t.extractfile(member).read()


def read_members(arcs, wanted):
    """[(archive index, member)] -> {(index, member): bytes}; a tar is read in one pass."""
    got = {}
    for i, a in enumerate(arcs):
        want = {m for j, m in wanted if j == i}
        if a.endswith('.whl'):
            with zipfile.ZipFile(a) as z: got.update({(i, m): z.read(m) for m in want})
        else:
            with tarfile.open(a) as t:
                for x in t:
                    if x.name in want: got[i, x.name] = t.extractfile(x).read()
    return got


def package_licence(archive):
    if archive.endswith('.whl'):
        with zipfile.ZipFile(archive) as z:
            md = z.read([n for n in z.namelist() if n.endswith('.dist-info/METADATA')][0]).decode('utf8', 'replace').split('\n\n')[0]
        l = re.findall(r'^License-Expression: (.*)$', md, re.M) or [x for x in re.findall(r'^Classifier: License :: (?:OSI Approved :: )?(.*)$', md, re.M)] or re.findall(r'^License: (.*)$', md, re.M)
        return '; '.join(x.strip()[:80] for x in l) or 'not stated'
    return json.loads(read_member(archive, 'package/package.json')).get('license', 'not stated')


def build_source(s, out, dl):
    """One trained model out of a package -> out/trained/<name>/model.onnx (+ reference.tflite) + io.npz"""
    import numpy as np
    t0 = time.time(); d = os.path.join(out, 'trained', s['name']); os.makedirs(d, exist_ok=True)
    e = dict(name=s['name'], kind='trained', family=s.get('family'), package=s['req'], member=s.get('member'), split=s.get('split'))
    try:
        reqs = s['req'] if isinstance(s['req'], list) else [s['req']]
        arcs = [fetch(r, dl) for r in reqs]
        e['licence'] = s.get('licence') or package_licence(arcs[0]); e['package_bytes'] = sum(os.path.getsize(a) for a in arcs)
        path = os.path.join(d, 'model.onnx')
        if s.get('torch'):
            return build_torch_source(s, e, arcs, d, t0)
        if s.get('join'):       # a file cut in parts: list of (archive index, member), or a function
            parts = s['join'](arcs) if callable(s['join']) else s['join']
            got = read_members(arcs, parts)
            with open(path, 'wb') as f:
                for p in parts: f.write(got[p])
        else:
            with open(path, 'wb') as f: f.write(read_member(arcs[0], s['member']))
        if s.get('sha256'): e['sha_ok'] = hashlib.sha256(open(path, 'rb').read()).hexdigest().startswith(s['sha256'])
        e['file'] = os.path.relpath(path, out); e['info'] = onnx_info(path)
        if s.get('tflite'):
            p = os.path.join(d, 'reference.tflite'); open(p, 'wb').write(read_member(arcs[0], s['tflite'])); e['reference_tflite'] = os.path.relpath(p, out)
        feeds = s['feeds']() if callable(s['feeds']) else make_feed(s['feeds'])
        t = time.time(); names, outs = ort_run(path, feeds); e['ort_s'] = round(time.time() - t, 2)
        e['ort'] = 'ok'; e['out_shapes'] = [list(np.shape(o)) for o in outs]
        e['finite'] = bool(all(np.isfinite(o).all() for o in outs if np.issubdtype(np.asarray(o).dtype, np.floating)))
        e['spread'] = [float(np.std(o.astype(np.float64))) if np.size(o) else None for o in outs][:4]
        np.savez_compressed(os.path.join(d, 'io.npz'), **{'in:' + k: v for k, v in feeds.items()}, **{'out:%d:%s' % (i, n): o for i, (n, o) in enumerate(zip(names, outs)) if i < s.get('keep_outputs', 99)})
    except Exception as x:
        e['error'] = '%s: %s' % (type(x).__name__, str(x)[:300])
    e['seconds'] = round(time.time() - t0, 1)
    return e


def build_torch_source(s, e, arcs, d, t0):
    """Trained PyTorch weights from a package, the network defined in the zoo script; exported like an architecture."""
    lib = os.path.join(d, 'unpacked')
    for a in arcs:
        with zipfile.ZipFile(a) as z: z.extractall(lib)
    e['kind'] = 'trained-torch'
    model, inputs, inn, outn = s['torch'](lib)
    e.update(export_all(dict(name=s['name'], dyn=s.get('dyn'), alt=s.get('alt'), ts=True, dynamo=True, ts_opset=s.get('ts_opset'), raw=False,
                             dyn_dynamo=True, dyn_ts=True), model.eval(), inputs, inn, outn, d))
    import shutil; shutil.rmtree(lib, ignore_errors=True)
    e['seconds'] = round(time.time() - t0, 1)
    return e


# ---------------------------------------------------------------- exports
def export_all(a, model, inputs, inn, outn, d, pt2=False):
    import numpy as np, torch
    r = dict(exports={})
    os.makedirs(d, exist_ok=True)
    with torch.no_grad(): ref = [x.detach().numpy() for x in flat(model(*inputs))]
    r['torch_finite'] = bool(all(np.isfinite(x).all() for x in ref if x.dtype.kind == 'f'))
    r['torch_std'] = [float(x.astype(np.float64).std()) if x.size else None for x in ref][:4]
    r['out_shapes'] = [list(x.shape) for x in ref]
    try:    # how far the outputs move with the float inputs: near 0 would make every comparison meaningless
        g = torch.Generator().manual_seed(3)
        with torch.no_grad(): oth = [x.detach().numpy() for x in flat(model(*[x * 0.5 + 0.5 * torch.randn(x.shape, generator=g) if torch.is_tensor(x) and x.is_floating_point() else (x.roll(1, -1) if torch.is_tensor(x) and x.dim() else x) for x in inputs]))]
        r['sensitivity'] = [float(np.abs(a.astype('f8') - b.astype('f8')).max() / (np.abs(a.astype('f8')).max() + 1e-12)) if a.shape == b.shape and a.size else None for a, b in zip(ref, oth)][:4]
    except Exception as q: r['sensitivity'] = str(q)[:80]
    r['params'] = int(sum(p.numel() for p in model.parameters()))
    fin = flat(inputs)
    np.savez_compressed(os.path.join(d, 'io.npz'), **{'in:' + n: x.numpy() for n, x in zip(inn, fin)}, **{'out:%d' % i: x for i, x in enumerate(ref)})
    altin = altref = None
    if a.get('alt'):
        altin = a['alt'](inputs)
        with torch.no_grad(): altref = [x.detach().numpy() for x in flat(model(*altin))]
        np.savez_compressed(os.path.join(d, 'io_alt.npz'), **{'in:' + n: x.numpy() for n, x in zip(inn, flat(altin))}, **{'out:%d' % i: x for i, x in enumerate(altref)})
    h = int(hashlib.sha256(a['name'].encode()).hexdigest(), 16)
    ts_opset = a.get('ts_opset') or [11, 13, 17, 18][h % 4]
    jobs = []
    if a.get('dynamo', True): jobs.append(('dynamo', False))
    if a.get('ts', True): jobs.append(('ts', False))
    if a.get('dyn'):
        if a.get('dynamo', True) and a.get('dyn_dynamo', True): jobs.append(('dynamo', True))
        if a.get('ts', True) and a.get('dyn_ts', True): jobs.append(('ts', True))
    import logging; logging.disable(logging.WARNING); warnings.simplefilter('ignore')
    for exp, dyn in jobs:
        key = exp + ('.dyn' if dyn else ''); path = os.path.join(d, 'model.%s.onnx' % key); x = dict(file=os.path.basename(path))
        t = time.time()
        try:
            with torch.no_grad():
                if exp == 'dynamo':
                    ds = None
                    if dyn:
                        cache = {}
                        def dim(n): return cache.setdefault(n, torch.export.Dim.DYNAMIC)
                        ds = [({ax: dim(n) for ax, n in a['dyn'][nm].items()} if nm in a['dyn'] else {}) for nm in inn]
                        ds = tuple(ds) if len(fin) == len(inputs) else None
                    # a dynamic axis of size 1 would be taken as fixed: trace with the inputs that have none
                    one = any(v.shape[ax] == 1 for nm, v in zip(inn, fin) for ax in (a['dyn'] or {}).get(nm, {}))
                    ex = tuple(altin) if dyn and altin is not None and one else tuple(inputs)
                    try:
                        ep = torch.export.export(model, ex, dynamic_shapes=ds, strict=False)
                        x['torch_export'] = 'ok'
                        if pt2 and not dyn: torch.export.save(ep, os.path.join(d, 'model.pt2'))
                    except Exception as q:
                        ep = None; x['torch_export'] = '%s: %s' % (type(q).__name__, str(q).strip().split('\n')[0][:160])
                    if ep is None and dyn: raise RuntimeError('torch.export: ' + x['torch_export'])
                    if ep is not None:
                        kw = dict(dynamo=True, input_names=list(inn), output_names=outn, external_data=False, verbose=False)
                        try: torch.onnx.export(ep, (), path, **kw)
                        except Exception as q:
                            if not dyn: raise
                            x['first_try'] = '%s: %s' % (type(q).__name__, str(q.__cause__ or q).strip().split('\n')[0][:160])
                            ep = torch.export.export(model, ex, dynamic_shapes=ds, strict=False, prefer_deferred_runtime_asserts_over_guards=True)
                            torch.onnx.export(ep, (), path, **kw)
                    else:
                        torch.onnx.export(model, ex, path, dynamo=True, dynamic_shapes=ds, input_names=list(inn), output_names=outn, external_data=False, verbose=False)
                else:
                    ax = {k: dict(v) for k, v in a['dyn'].items()} if dyn else None
                    err = None
                    for op in [ts_opset] + [o for o in (17, 20) if o > ts_opset]:
                        try:
                            torch.onnx.export(model, tuple(inputs), path, dynamo=False, opset_version=op, input_names=list(inn), output_names=outn, dynamic_axes=ax, do_constant_folding=True)
                            err = None; break
                        except Exception as q:
                            if err is None: err = q
                            x.setdefault('failed_opsets', {})[op] = '%s: %s' % (type(q).__name__, str(q).strip().split('\n')[0][:120])
                    if err is not None: raise err
            x['export_s'] = round(time.time() - t, 1)
            x['info'] = onnx_info(path)
            names = [i['name'] for i in x['info']['inputs']]
            feeds = dict(zip(inn, [v.numpy() for v in fin]))
            if set(names) - set(feeds): feeds = dict(zip(names, [v.numpy() for v in fin]))
            x['missing_inputs'] = sorted(set(inn) - set(names))
            try:
                t = time.time(); _, got = ort_run(path, feeds); x['ort_s'] = round(time.time() - t, 2)
                x['ort'] = 'ok'; x['vs_torch'] = compare(ref, got)
            except Exception as q: x['ort'] = '%s: %s' % (type(q).__name__, str(q)[:200])
            if dyn and altin is not None and x['ort'] == 'ok':
                try:
                    f2 = dict(zip(inn, [v.numpy() for v in flat(altin)]))
                    _, got = ort_run(path, f2); x['alt_vs_torch'] = compare(altref, got)
                except Exception as q: x['alt_vs_torch'] = '%s: %s' % (type(q).__name__, str(q)[:160])
        except Exception as q:
            c = q
            while c.__cause__ is not None: c = c.__cause__
            x['error'] = '%s: %s' % (type(q).__name__, str(q).strip()[:160]) + ('' if c is q else ' <- %s: %s' % (type(c).__name__, str(c).strip()[:400]))
        r['exports'][key] = x
    try:    # float32 against float64: the least tolerance a comparison of this model can ask for
        import copy
        m2 = copy.deepcopy(model).double()
        with torch.no_grad(): d64 = [v.detach().numpy() for v in flat(m2(*[v.double() if torch.is_tensor(v) and v.is_floating_point() else v for v in inputs]))]
        r['float64_rel'] = compare(d64, ref)['max_rel']; del m2
    except Exception as q: r['float64_rel'] = str(q)[:80]
    for mode in a.get('quant', ()):
        x = dict(file='model.%s.onnx' % mode); t = time.time(); src = os.path.join(d, 'model.ts.onnx')
        try:
            quantize(src, os.path.join(d, x['file']), mode, dict(zip(inn, [v.numpy() for v in fin])))
            x['export_s'] = round(time.time() - t, 1); x['info'] = onnx_info(os.path.join(d, x['file']))
            _, got = ort_run(os.path.join(d, x['file']), dict(zip(inn, [v.numpy() for v in fin])))
            x['ort'] = 'ok'; x['vs_torch'] = compare(ref, got)
            np.savez_compressed(os.path.join(d, 'io_%s.npz' % mode), **{'out:%d' % i: v for i, v in enumerate(got)})
        except Exception as q: x['error'] = '%s: %s' % (type(q).__name__, str(q).strip()[:300])
        r['exports'][mode] = x
    return r


def quantize(src, dst, mode, feeds):
    """int8 versions by onnxruntime's quantizer: qdq / qoperator (static, calibrated), dynamic."""
    import numpy as np
    from onnxruntime import quantization as Q
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if mode == 'dynamic': return Q.quantize_dynamic(src, dst, weight_type=Q.QuantType.QInt8)

    class R(Q.CalibrationDataReader):
        def __init__(self): self.i = 0
        def get_next(self):
            self.i += 1
            rng = np.random.default_rng(self.i)
            return None if self.i > 8 else {k: (v + 0.2 * rng.standard_normal(v.shape)).astype(v.dtype) if v.dtype.kind == 'f' else v for k, v in feeds.items()}
    pre = dst + '.pre.onnx'
    quant_pre_process(src, pre, skip_symbolic_shape=True)
    Q.quantize_static(pre, dst, R(), quant_format=Q.QuantFormat.QDQ if mode == 'qdq' else Q.QuantFormat.QOperator, per_channel=mode == 'qdq',
                      activation_type=Q.QuantType.QUInt8 if mode == 'qoperator' else Q.QuantType.QInt8, weight_type=Q.QuantType.QInt8)
    os.remove(pre)


def build_arch(name, out, pt2=False):
    import torch
    torch.set_num_threads(1)
    a = ARCHS[name]; t0 = time.time(); d = os.path.join(out, 'arch', name)
    e = dict(name=name, kind='arch', family=a['family'], note=a['note'])
    try:
        seed_all(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2**31)
        model, inputs, inn, outn = a['f']()
        model = model.eval()
        for p in model.parameters(): p.requires_grad_(False)
        if not a['raw']: model = randomize(model, inputs, a['bn'])
        e.update(export_all(a, model, inputs, inn, outn, d, pt2))
    except Exception as x:
        e['error'] = '%s: %s' % (type(x).__name__, str(x)[:400]); e['trace'] = traceback.format_exc()[-1500:]
    e['seconds'] = round(time.time() - t0, 1)
    return e


# ---------------------------------------------------------------- command line
def preload(names, o):
    """Imports and warms the exporters once in the parent; every model is then built in a fork of it."""
    os.environ.update(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
    if not names: return
    import numpy, torch, torchvision, timm, transformers, onnx, onnxscript, logging
    torch.backends.mha.set_fastpath_enabled(False)   # nn.MultiheadAttention's fused eval path cannot be exported
    torch.set_num_threads(1); logging.disable(logging.WARNING); warnings.simplefilter('ignore')
    m = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    try: torch.onnx.export(m, (torch.zeros(1, 3, 8, 8),), dynamo=True, verbose=False)
    except Exception as x: print('warm-up failed', x)
    print('preloaded', flush=True)


def main(sources, split):
    ap = argparse.ArgumentParser(description='Builds the %s model zoo into a folder.' % split)
    ap.add_argument('out'); ap.add_argument('--only', default='*', help='comma list of name patterns')
    ap.add_argument('--jobs', type=int, default=2); ap.add_argument('--no-arch', action='store_true'); ap.add_argument('--no-trained', action='store_true')
    ap.add_argument('--pt2', action='store_true', help='also store torch.export programs'); ap.add_argument('--list', action='store_true')
    ap.add_argument('--timeout', type=int, default=900); ap.add_argument('--resume', action='store_true', help='leave out models already built without error')
    o = ap.parse_args()
    out = os.path.abspath(o.out); dl = os.path.join(out, 'downloads')
    pats = o.only.split(','); sel = lambda n: any(fnmatch.fnmatch(n, p) for p in pats)
    S = collections.OrderedDict((s['name'], s) for s in sources)
    names = [n for n in S if sel(n) and not o.no_trained] + [n for n in ARCHS if sel(n) and not o.no_arch]
    def ok(n):
        p = os.path.join(out, 'parts', n + '.json')
        return os.path.exists(p) and 'error' not in json.load(open(p))
    if o.resume: names = [n for n in names if not ok(n)]
    if o.list: print('\n'.join(names)); return
    os.makedirs(os.path.join(out, 'parts'), exist_ok=True)
    t0 = time.time()
    for r in sorted({r for n in names if n in S for r in (S[n]['req'] if isinstance(S[n]['req'], list) else [S[n]['req']])}):
        try: fetch(r, dl)
        except Exception as x: print('fetch failed', r, x)
    print('downloads %.0f s' % (time.time() - t0), flush=True)

    preload([n for n in names if n in ARCHS or S[n].get('torch')], o)
    import multiprocessing as mp
    ctx = mp.get_context('fork')

    def child(n, part):
        log = open(os.path.join(out, 'parts', n + '.log'), 'w', buffering=1)
        os.dup2(log.fileno(), 1); os.dup2(log.fileno(), 2)
        e = build_arch(n, out, o.pt2) if n in ARCHS else build_source(S[n], out, dl)
        e['split'] = split
        with open(part, 'w') as f: json.dump(e, f)

    def one(n):
        part = os.path.join(out, 'parts', n + '.json')
        if os.path.exists(part): os.remove(part)
        t = time.time()
        p = ctx.Process(target=child, args=(n, part)); p.start(); p.join(o.timeout)
        rc = p.exitcode
        if rc is None: rc = 'timeout'; p.kill(); p.join()
        if not os.path.exists(part):
            with open(part, 'w') as f: json.dump(dict(name=n, kind='arch' if n in ARCHS else 'trained', split=split, error='worker ended with %s' % rc, seconds=round(time.time() - t, 1)), f)
        e = json.load(open(part))
        s = e.get('error', '')[:150] or (e.get('ort', '') if e['kind'] == 'trained' else ' '.join('%s=%s' % (k, ('%.0e' % v['vs_torch']['max_rel']) if 'vs_torch' in v else ('ERR' if 'error' in v else 'ORT-ERR')) for k, v in e['exports'].items()))
        print('%6.1f %-34s %5.0fs %s' % (time.time() - t0, n, time.time() - t, s), flush=True)
        return e
    with cf.ThreadPoolExecutor(o.jobs) as ex: res = list(ex.map(one, names))
    mf = os.path.join(out, 'manifest.json'); M = []
    for n in list(S) + list(ARCHS):
        part = os.path.join(out, 'parts', n + '.json')
        if os.path.exists(part): M.append(json.load(open(part)))
    with open(mf, 'w') as f: json.dump(M, f, indent=1)
    print('done %d models in %.0f s -> %s' % (len(res), time.time() - t0, mf))
