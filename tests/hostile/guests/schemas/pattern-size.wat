;; A pattern that is short, and as an automaton larger than the memory.
;; call: configure
;; manifest: parameters.properties.a.pattern = '((((a{1,99}){1,99}){1,99}){1,99}){1,99}'
;; config: {"a": "a"}
;; expect: ends no JSON Schema
