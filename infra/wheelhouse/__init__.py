"""The wheels that workers install from: built, and stored in S3."""
