import json, resource, numpy as np
def test_a(build_glober, tmp_path):
    p=build_glober(); p.save_pretrained(tmp_path/"a")
    from longtake import models
    q=models.load(tmp_path/"a"); q.save_pretrained(tmp_path/"b")
    for f in (tmp_path/"b").rglob("*.json"):
        t=f.read_text()
        print(f.parent.name, f.name, [l for l in t.splitlines() if "tmp" in l])
    for n in (16,64,1024):
        for _ in q.stream(n,stretch=True,label=0): pass
        print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
