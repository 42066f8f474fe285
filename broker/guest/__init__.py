"""The program on the machine of a run: standard library only, Python 3.8, sent as one archive.

main, boot, box         what it is asked, how it starts, the folder that a run lives in
watchdog, supervisor    who ends the job at its kill time, and who runs it
output, checkpoints     its log, steps and files
archives                what may be packed: packing, unpacking, tar_reader
courier, vendor         the way to and from the bucket; each cloud's part is guest.py in its folder
"""
