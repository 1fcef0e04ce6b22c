"""Providers of the devnet that misbehave: one small class per fault, which the agent and the exe-unit ask.

The base class is the honest provider. `devnet up --fault` chooses faults; `kinds` lists them.
"""
