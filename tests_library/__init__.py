"""The statistics: spaces, statistics, nulls, engine, multiplicity. Knows neither agent nor hypotheses."""
