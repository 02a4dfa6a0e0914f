"""What is measured, each module one question: `python -m benchmarks.<module>` in a checkout."""
