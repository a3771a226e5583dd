"""Qwen3-ForcedAligner on Core ML: conversion, inference and word-boundary parity."""
