;; A pattern with a reference back, which only slow engines have.
;; call: configure
;; manifest: parameters.properties.a.pattern = '(a*)*\1b'
;; config: {"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
;; expect: ends no JSON Schema
