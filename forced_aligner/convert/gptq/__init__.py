"""Weights in few bits by GPTQ: the codes are chosen so that the outputs on calibration clips stay."""
