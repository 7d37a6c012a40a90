;; A schema that is itself: it has an end.
;; call: configure
;; manifest: parameters."$ref" = '#'
;; config: {"a": 1}
;; expect: answers 1 builder
