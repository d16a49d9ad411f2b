"""Bytes into typed values and back: claude's lines, what is written to it, and text made safe to show. Pure."""
