"""tests.results"""
