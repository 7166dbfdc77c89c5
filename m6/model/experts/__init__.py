"""Mixture of experts: many feed-forwards of which every token takes a few (paper section 4; GShard, arXiv 2006.16668).

    tokens -> Router: which experts, with what weight -> Dispatcher: rows by expert -> Experts -> Dispatcher -> tokens

The three parts know nothing of one another, and `MixtureOfExperts` joins them. Where experts lie on several devices, a
dispatcher that exchanges rows takes the place of `LocalDispatcher`; router and experts stay as they are.
"""

from m6.model.experts.dispatch import Dispatcher, LocalDispatcher
from m6.model.experts.layer import MixtureOfExperts, Routing

__all__ = ["MixtureOfExperts", "Routing", "Dispatcher", "LocalDispatcher"]
