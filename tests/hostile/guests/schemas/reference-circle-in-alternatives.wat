;; A schema that has itself among its alternatives: it has an end.
;; call: configure
;; manifest: parameters = { anyOf = [ { "$ref" = '#' }, { type = 'null' } ] }
;; config: {"a": 1}
;; expect: answers 1 builder
