"""Providers of the devnet that misbehave: one small class a fault, asked by the agent and by the exe-unit.

The base class is the honest provider. `devnet up --fault` chooses, `kinds` lists.
"""
