;; A schema of a tree, which refers to itself where it goes down: it is none of the bad ones.
;; call: configure
;; manifest: parameters = { properties = { left = { "$ref" = '#' } } }
;; config: {"left": {"left": {"left": {}}}}
;; expect: answers 1 builder
