"""Search spaces, architectures, and the plan that an architecture is lowered to."""

from nas.space.architecture import Architecture
from nas.space.budgets import Budgets
from nas.space.forms import block_forms, forms_of, same_function
from nas.space.fragments import cells, chain, down_path, fragment
from nas.space.json_schema import json_schema
from nas.space.layers import NONE, LayerConfig, layer_class, layer_kinds
from nas.space.plan import Block, Node, PipelinePlan, Plan, TensorSpec
from nas.space.resolve import Candidate, Slot
from nas.space.space import SearchSpace, lower

__all__ = [
    "NONE",
    "Architecture",
    "Block",
    "Budgets",
    "Candidate",
    "LayerConfig",
    "Node",
    "PipelinePlan",
    "Plan",
    "SearchSpace",
    "Slot",
    "TensorSpec",
    "block_forms",
    "cells",
    "chain",
    "down_path",
    "forms_of",
    "fragment",
    "json_schema",
    "layer_class",
    "layer_kinds",
    "lower",
    "same_function",
]
