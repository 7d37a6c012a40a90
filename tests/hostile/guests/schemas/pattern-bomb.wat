;; A pattern that takes exponential time where patterns can look back.
;; call: configure
;; manifest: parameters.properties.a.pattern = '^(a+)+$'
;; config: {"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}
;; expect: ends text of the form
