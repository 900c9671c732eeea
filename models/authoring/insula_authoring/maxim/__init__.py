"""MAXIM (Tu et al., CVPR 2022): image restoration by multi-axis gated MLPs, and the bundled pack maxim-denoise."""
