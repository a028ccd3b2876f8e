"""The commands `train` and `evaluate` of `python -m eqx_cc.policy`.

Options are checked, and folders read, before anything is compiled.
"""
