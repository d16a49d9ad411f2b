"""What the tests, the chaos suite, the benchmarks and the demo are driven with; the product never imports it."""
