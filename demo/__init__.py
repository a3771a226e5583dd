"""The bundled demo aligner: a small `Qwen3ASRForTokenClassification`, its clips and the recipe that made them."""
