"""Conditions: everything a model can be conditioned on, behind one interface."""

from bitdiff.conditions.condition import Condition, Inputs, Keys, Request, Signal, combine, derive_keys, init_conditions

__all__ = ["Condition", "Inputs", "Keys", "Request", "Signal", "combine", "derive_keys", "init_conditions"]
