"""Tables and plots of measurements, and the table of goals."""
