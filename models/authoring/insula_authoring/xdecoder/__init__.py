"""X-Decoder (Zou et al., CVPR 2023): masks, captions and retrieval from text, and the bundled pack xdecoder-medical."""
