;; Two schemas that are each other: it has an end.
;; call: configure
;; manifest: parameters = { "$ref" = '#/$defs/a', "$defs" = { a = { "$ref" = '#/$defs/b' }, b = { "$ref" = '#/$defs/a' } } }
;; config: {"a": 1}
;; expect: answers 1 builder
