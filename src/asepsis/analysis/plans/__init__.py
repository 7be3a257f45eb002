"""Optimisers over attack graphs: best paths, exact plans, Pareto fronts, ranked plans. Pure."""
