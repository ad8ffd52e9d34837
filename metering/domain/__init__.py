"""Pure metering: values, decisions and arithmetic. No Django, no I/O, no clock: times come in as arguments."""
