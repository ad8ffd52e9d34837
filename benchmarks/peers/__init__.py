"""What Permeter is measured beside: floors that do nothing, and the stacks that one would glue together instead."""
