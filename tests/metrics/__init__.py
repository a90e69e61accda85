"""tests.metrics"""
