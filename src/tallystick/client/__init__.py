"""The SDK: record what happens in an application, keep it on disk first, send it for ever."""
