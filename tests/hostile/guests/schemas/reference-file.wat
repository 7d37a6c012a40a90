;; A schema that is a file of the master.
;; call: configure
;; manifest: parameters.properties.a."$ref" = 'file:///etc/passwd'
;; config: {"a": 1}
;; expect: ends which is no part of them
