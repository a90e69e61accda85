"""A study from request to result: checked, planned, run, resumed, calibrated."""
