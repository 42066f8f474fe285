"""What is for sale: machines, regions, prices, and the one bill.

offer, region, book    what is sold, where, and a dated snapshot of it
billing, power         hours to money, and to energy and carbon
gpu_names, data/       the names of accelerators; the embedded book
"""
