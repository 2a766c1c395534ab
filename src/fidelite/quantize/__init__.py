"""Precision: recipes (data), a plan (a pure decision), and its application (a small mutation)."""

from __future__ import annotations

from fidelite.quantize.plan import Plan, plan_weights
from fidelite.quantize.recipe import RECIPES, Recipe, recipe_of
from fidelite.quantize.weights import apply_plan

__all__ = ["RECIPES", "Plan", "Recipe", "apply_plan", "plan_weights", "recipe_of"]
