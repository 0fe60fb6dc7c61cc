"""A page that shows a sweep while it runs: python -m analysis.live"""
