"""What everything stands on: errors, atomic files, hashes, places, sizes, the base of all sections.

A change here runs every stage again; it imports nothing above it, and
holds only what two rooms need.
"""
