"""The stack that one would glue together with Django: DRF, an API-key package, django-ratelimit and the ORM."""
