"""Plain data to what people read: a `Document`, shown in a terminal, as an HTML page or kept as JSON.

    document      what a report is made of: sections of facts, tables, findings, commands
    figures       how numbers are written
    models        inspections and conversions as documents
    results       verifications, benchmarks and runs as documents
    machine       the doctor's findings and the table of operators as documents
    terminal      a document in a terminal
    html          a document as one self-contained page

Nothing is imported here, so that the command line starts fast.
"""
