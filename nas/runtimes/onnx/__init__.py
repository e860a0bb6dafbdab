"""The runtime `onnxruntime`: ONNX files."""
