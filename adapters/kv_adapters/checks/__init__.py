"""Is an adapter sound, and does it do anything? By its files, and by asking vLLM."""
