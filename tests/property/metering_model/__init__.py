"""A plain model of metering, written from the rules alone, and the product driven beside it through its own doors."""
