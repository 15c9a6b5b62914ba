"""``madang doctor URL``: what is between clients and a server, examined from outside and told in words."""
