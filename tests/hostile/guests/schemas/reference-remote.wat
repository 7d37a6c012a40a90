;; A schema that is at an address on the network.
;; call: configure
;; manifest: parameters.properties.a."$ref" = 'http://127.0.0.1:{port}/schema.json'
;; config: {"a": 1}
;; expect: ends which is no part of them
