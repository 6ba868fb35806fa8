"""The outlets of what watching.py tells, a file each, and their settings.

They know the seam, and nothing of training and transport. A library is imported where its outlet is opened, and nowhere before.
"""
