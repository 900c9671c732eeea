"""MAYOR: text detection after the published idea of Qin et al. (ACM Multimedia 2021, arXiv:2109.03426) - Mask R-CNN with an
MLP mask decoder, instance-aware mask learning and an adaptive label assignment - and the bundled pack mayor-text.

Not a reproduction: only the paper's abstract could be read. What the abstract leaves open is our choice, one key of
`config.Config` each. Pictures are RGB, 0..255; boxes are (x0, y0, x1, y1) in pixels, x to the right, y down, pixel
(0, 0) covering [0, 1) x [0, 1). Read `network`, then `glue`, then `train`."""
