"""DICOM at the gateway: a storage provider for modalities, and a storage user towards a PACS.

The process that parses what strangers write holds no key and opens no file; see `app.py`.
"""
