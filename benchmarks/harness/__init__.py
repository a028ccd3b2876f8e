"""Programs that are timed, who takes part, and rows of measurements in files."""
