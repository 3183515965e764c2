"""The stored form of a settled series: made, read and proved (docs/design/storage.md, ADR 0015).

Pure formats: `recipe`, `records`, `tar`, `index`, `manifest`, `metadata`, `preview`. Decisions:
`planning` (what can be coded), `heads` (the entry's header and the way back). Whole packs: `writing`,
`reading`, `proving`. Pixels are touched by the `FrameCoder` port only; nothing here knows a codec, a
database or a store.
"""
