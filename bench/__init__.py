"""Side-by-side measurements against Orthanc, DCMTK and nginx. `script/bench` runs them."""
