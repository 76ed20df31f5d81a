BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE artefacts (
	root VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	size BIGINT NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	content_type VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_artefacts PRIMARY KEY (root, fingerprint)
);
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','391fca4dbb3e1674325e6fb63ac585b8c27cb3aa6924c495c7540eb16b22c88d','artefacts/39/391fca4dbb3e1674325e6fb63ac585b8c27cb3aa6924c495c7540eb16b22c88d.png','aec9eaa5fec65fc9566c3a6e837cb1ed69c4672bc43f717543c0c5eead267489',660,36,20,'image/png','load','{"width": 36, "height": 20, "aspect": 1.8, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 4905.833333, "contrast": 0.283681, "brightness": 0.734641, "clipped": 0.533333, "entropy": 0.996792, "flatness": 0.533333, "colorfulness": 86.012882, "dominant_color": "#ffffff", "dominant_share": 0.533333, "noise": 0.0, "perceptual_hash": "002b2b2b2b2b2b00", "likeness": "vvvvvvvvvvvvvvvvvvvvvvvvvpmmmmmmmmpvvjddddddddjvvjddddddddjvvjddddddddjvvjddddddddjvvjddddddddjvvjddddddddjvvpmmmmmmmmpvvvvvvvvvvvvvvvvvvvvvvvvvggggggfddddfecccceeccccefddddfggggggggggggeaaaaed8888dd8888deaaaaeggggggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.096227');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','560184bf45f6a772fb234b857324ed21bc98fe086cf7a8fc2b7494a40145b982','artefacts/56/560184bf45f6a772fb234b857324ed21bc98fe086cf7a8fc2b7494a40145b982.png','89c5955473b7e416f08d19dac408566ee3a52fce9970221fa4a77c035d893aa2',679,20,36,'image/png','load','{"width": 20, "height": 36, "aspect": 0.555556, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 7985.833333, "contrast": 0.361938, "brightness": 0.661438, "clipped": 0.533333, "entropy": 0.996792, "flatness": 0.533333, "colorfulness": 96.681245, "dominant_color": "#ffffff", "dominant_share": 0.533333, "noise": 0.0, "perceptual_hash": "232b2b2b2b2b2b23", "likeness": "vvvvvvvvvvvvvvoggggggovvvvk888888kvvvvk888888kvvvvk888888kvvvvk888888kvvvvk888888kvvvvk888888kvvvvk888888kvvvvk888888kvvvvoggggggovvvvvvvvvvvvvvgijjiggmppmggmppmggmppmggmppmggijjiggffffggeddeggeddeggeddeggeddeggffffgvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.106007');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','a8e2756eb96d3b9f6cb658d4a273a3f2d60bdcbe4ddb8e1a993d4987b40950ab','artefacts/a8/a8e2756eb96d3b9f6cb658d4a273a3f2d60bdcbe4ddb8e1a993d4987b40950ab.png','5a096b300e2131ab97f01e90ae6306621e8137aef8a9c33f7342ff85a02f6c6d',664,24,24,'image/png','load','{"width": 24, "height": 24, "aspect": 1.0, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 7148.5, "contrast": 0.339064, "brightness": 0.696732, "clipped": 0.555556, "entropy": 0.991076, "flatness": 0.555556, "colorfulness": 119.786548, "dominant_color": "#ffffff", "dominant_share": 0.555556, "noise": 0.0, "perceptual_hash": "002b2b2b2b2b2b00", "likeness": "vvvvvvvvvvvvvvvvvvvvvvvvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvaaaaaaaavvvvvvvvvvvvvvvvvvvvvvvvvvgggggggccccggccccggccccggccccggggggggggggggqqqqggqqqqggqqqqggqqqqgggggggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.071474');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','b773f0c7e8c4b49e8569df805c368464bd0642923cfdb55037997e4f0623782c','artefacts/b7/b773f0c7e8c4b49e8569df805c368464bd0642923cfdb55037997e4f0623782c.png','c69628ec28a5f4a4779027404d3b211df3fff75ef1d404a06e9b5b58a2328ae4',1110,12,22,'image/png','resize','{"width": 12, "height": 22, "aspect": 0.545455, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 4988.198347, "contrast": 0.335581, "brightness": 0.649614, "clipped": 0.257576, "entropy": 3.381948, "flatness": 0.151515, "colorfulness": 92.111188, "dominant_color": "#fdfdff", "dominant_share": 0.454545, "noise": 0.0, "perceptual_hash": "1333333333333313", "likeness": "vvvvvvvvvvvvvvkbdccdbkvvvvi799997ivvvvh698896hvvvvh698896hvvvvh698896hvvvvh698896hvvvvh698896hvvvvh698896hvvvvh798897hvvvvkbdccdbkvvvvvvvvvvvvvvgjjjjggnppnggnppnggnppnggnppnggjjjjggfeefggddddggddddggddddggddddggfeefgvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.168539');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','c2feb89f4ddce90f721ee6a85a6eab2e7e9251c553d6e02e740407611174da1f','artefacts/c2/c2feb89f4ddce90f721ee6a85a6eab2e7e9251c553d6e02e740407611174da1f.png','8e23b2819e05d54cd9240738b11f92c1d29700b8c92cc8de5e28f05f996b27c1',1020,12,12,'image/png','resize','{"width": 12, "height": 12, "aspect": 1.0, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 10586.719136, "contrast": 0.326346, "brightness": 0.694336, "clipped": 0.305556, "entropy": 3.036352, "flatness": 0.555556, "colorfulness": 116.166172, "dominant_color": "#fefafa", "dominant_share": 0.555556, "noise": 0.0, "perceptual_hash": "002b2b2b2b2b2b00", "likeness": "vvvvvvvvvvvvvvuuuuuuuuvvvucabbbbacuvvua999999auvvub9aaaa9buvvub9aaaa9buvvub9aaaa9buvvub9aaaa9buvvua999999auvvucabbbbacuvvvuuuuuuuuvvvvvvvvvvvvvvgffffgfccccffccccffccccffccccfgffffggggggggqqqqggqqqqggqqqqggqqqqgggggggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.162602');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','edc682d33351013ef936d2453754039c3c41f284be60e554dfb96847836326b5','artefacts/ed/edc682d33351013ef936d2453754039c3c41f284be60e554dfb96847836326b5.png','b9d6c851bf71c828914f6daf67e27785b43b0dde69078cafc48bbd965cf6abe4',1025,12,7,'image/png','resize','{"width": 12, "height": 7, "aspect": 1.714286, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 12069.170068, "contrast": 0.251156, "brightness": 0.72493, "clipped": 0.404762, "entropy": 2.95799, "flatness": 0.214286, "colorfulness": 78.6448, "dominant_color": "#ffffff", "dominant_share": 0.404762, "noise": 0.0, "perceptual_hash": "002b2b2b2b2b2b00", "likeness": "vvvvvvvvvvvvvvvvvvvvvvvvvokllllllkovvjbccccccbjvvjbccccccbjvvkdeeeeeedkvvkdeeeeeedkvvjbccccccbjvvjbccccccbjvvokllllllkovvvvvvvvvvvvvvvvvvvvvvvvvggggggfddddfecccceeccccefddddfggggggggggggebbbbed8888dd8888debbbbeggggggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.165445');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','e585bbf0759aa51c1d55add8b9b6529b4382af7b3eee8d4a0055992dc2c6dafe','artefacts/e5/e585bbf0759aa51c1d55add8b9b6529b4382af7b3eee8d4a0055992dc2c6dafe.png','b4d596885ac733f0b4297bd32414ef93b971e520f44af1fe23fb42ced35cd50b',981,6,11,'image/png','resize','{"width": 6, "height": 11, "aspect": 0.545455, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 31777.847567, "contrast": 0.325442, "brightness": 0.656566, "clipped": 0.454545, "entropy": 2.616723, "flatness": 0.060606, "colorfulness": 89.467824, "dominant_color": "#ffffff", "dominant_share": 0.454545, "noise": 0.0, "perceptual_hash": "0f0f0f0f0f0f0f0f", "likeness": "vvvvvvvvvvvvvviiddddiivvvvcc6666ccvvvvee8888eevvvvdd7777ddvvvvdd7777ddvvvvdd7777ddvvvvdd7777ddvvvvee8888eevvvvcc6666ccvvvviiddddiivvvvvvvvvvvvvvgijjiggnppnggnppnggnppnggnppnggijjiggffffggddddggddddggddddggddddggffffgvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.176107');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','57966ecc3f76dc2e6e29c36d6fe71f07f4c57a94f6c1fb2f836acb132c675e45','artefacts/57/57966ecc3f76dc2e6e29c36d6fe71f07f4c57a94f6c1fb2f836acb132c675e45.png','05c24be83a8859acbc095a42e942ee1ddffa5adfce6cc374e9f2b25e9402bd12',1211,4,9,'image/png','trim','{"width": 4, "height": 9, "aspect": 0.444444, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 7783.765432, "contrast": 0.118221, "brightness": 0.37037, "clipped": 0.0, "entropy": 2.974938, "flatness": 0.5, "colorfulness": 64.348074, "dominant_color": "#5868d4", "dominant_share": 0.388889, "noise": 7.950849, "perceptual_hash": "0f0f0f0f0f0f0f0f", "likeness": "iiiddddddiiiccc666666cccccc666666ccceee888888eeeddd777777dddddd777777dddddd777777dddddd777777dddeee888888eeeccc666666cccccc666666ccciiiddddddiiimooommmpppmmnpppnnnpppnnnpppnnlnnnlledddeeddddddddddddddddddddddddedddeevvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", "trimmed_ratio": 0.454545}','2026-11-29 17:15:45.203967');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','7c3409d3eb5fedbe2c1c701c826d5bcb1893ee6a3075ec2a1b28298767990e41','artefacts/7c/7c3409d3eb5fedbe2c1c701c826d5bcb1893ee6a3075ec2a1b28298767990e41.png','2fe7a25fd07c7be80a9e17844596b2378decb33f29ca32935d751a0d98f48530',1253,10,5,'image/png','trim','{"width": 10, "height": 5, "aspect": 2.0, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 11587.7696, "contrast": 0.139769, "brightness": 0.537882, "clipped": 0.0, "entropy": 3.333661, "flatness": 0.08, "colorfulness": 65.510131, "dominant_color": "#77c689", "dominant_share": 0.36, "noise": 6.023371, "perceptual_hash": "4545454545454545", "likeness": "okllllllllkookllllllllkojbccccccccbjjbccccccccbjjbccccccccbjkdeeeeeeeedkkdeeeeeeeedkjbccccccccbjjbccccccccbjjbccccccccbjokllllllllkookllllllllkoeddddeccccccdccccddccccdcccccceddddecbbbbc988889a9999aa9999a988889cbbbbcvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", "trimmed_ratio": 0.404762}','2026-11-29 17:15:45.182765');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','b498d46f9f0f5166fb7f450cbbe5a909a335e0b1863af631ac65bea43f8c1069','artefacts/b4/b498d46f9f0f5166fb7f450cbbe5a909a335e0b1863af631ac65bea43f8c1069.png','77c7c8bbf1eb47f71f1618ab3b8201798c1da7f55147cff53e77b57facd9e917',707,12,60,'image/png','load','{"width": 12, "height": 60, "aspect": 0.2, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 2438.9, "contrast": 0.154637, "brightness": 0.901438, "clipped": 0.711111, "entropy": 0.867282, "flatness": 0.711111, "colorfulness": 98.265621, "dominant_color": "#ffffff", "dominant_share": 0.711111, "noise": 0.0, "perceptual_hash": "0e0e0e0e0e0e0e0e", "likeness": "vvvvttttvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvttttvvvvgg99gggg55gggg55gggg55gggg55gggg99ggggiiggggkkggggkkggggkkggggkkggggiiggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.264946');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','feb3911b53ef0a0df1862edb56f947e1b90ba6819b10d4472d059d8ade51fa72','artefacts/fe/feb3911b53ef0a0df1862edb56f947e1b90ba6819b10d4472d059d8ade51fa72.png','817fae916742bb8aa8cc4ffc75675494d5e54cf19c90704cc5d54d88505413ac',985,12,60,'image/png','resize','{"width": 12, "height": 60, "aspect": 0.2, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 2438.9, "contrast": 0.154637, "brightness": 0.901438, "clipped": 0.711111, "entropy": 0.867282, "flatness": 0.711111, "colorfulness": 98.265621, "dominant_color": "#ffffff", "dominant_share": 0.711111, "noise": 0.0, "perceptual_hash": "0e0e0e0e0e0e0e0e", "likeness": "vvvvttttvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvkkkkvvvvvvvvttttvvvvgg99gggg55gggg55gggg55gggg55gggg99ggggiiggggkkggggkkggggkkggggkkggggiiggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.268348');
INSERT INTO "artefacts" VALUES('file://@FOLDER@/out','70fc66425e1b3eb95972277d6ece8f58a7bdecb8765aa058298ad7b7e500070b','artefacts/70/70fc66425e1b3eb95972277d6ece8f58a7bdecb8765aa058298ad7b7e500070b.png','14a3fc547c1d9dded81adb44d6b46442e852ec19c2ed249a0b74a3b33a74655b',988,6,30,'image/png','resize','{"width": 6, "height": 30, "aspect": 0.2, "has_alpha": false, "alpha_coverage": 1.0, "hole_ratio": 0.0, "edge_contact": 1.0, "components": 1, "soft_edge": 0.0, "box_left": 0.0, "box_top": 0.0, "box_width": 1.0, "box_height": 1.0, "sharpness": 3983.518025, "contrast": 0.146091, "brightness": 0.900131, "clipped": 0.4, "entropy": 1.793734, "flatness": 0.711111, "colorfulness": 93.692545, "dominant_color": "#fefdfa", "dominant_share": 0.711111, "noise": 0.0, "perceptual_hash": "8e8e8e8e8e8e8e8e", "likeness": "vvvvssssvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvllllvvvvvvvvvvvvvvvvgf99fggf55fggf55fggf55fggf55fggf99fgggiiggggkkggggkkggggkkggggkkggggiiggvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}','2026-11-29 17:15:45.272825');
CREATE TABLE batch_sizes (
	device VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	size INTEGER NOT NULL, 
	relief INTEGER NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	CONSTRAINT pk_batch_sizes PRIMARY KEY (device, "key")
);
INSERT INTO "batch_sizes" VALUES('H100','0f5c',4,2,'2026-11-29 17:15:44.577991');
CREATE TABLE items (
	job_id VARCHAR NOT NULL, 
	"index" INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	prompt VARCHAR, 
	negative_prompt VARCHAR, 
	seed BIGINT NOT NULL, 
	vars JSON NOT NULL, 
	image VARCHAR, 
	mask VARCHAR, 
	shard INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	error TEXT, 
	error_step VARCHAR, 
	finals JSON NOT NULL, warnings JSON DEFAULT '[]' NOT NULL, refused_image VARCHAR, refused_by TEXT, 
	CONSTRAINT pk_items PRIMARY KEY (job_id, "index"), 
	CONSTRAINT fk_items_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "items" VALUES('whole-e1ccb3',0,'square',NULL,NULL,3396938098760625592,'{}','@FOLDER@/photos/square.png',NULL,0,'done',NULL,NULL,'{"small": "whole/final/square.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('whole-e1ccb3',1,'wide',NULL,NULL,7584601856535875966,'{}','@FOLDER@/photos/wide.png',NULL,0,'done',NULL,NULL,'{"tight": "whole/final/wide.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('whole-e1ccb3',2,'tall',NULL,NULL,7078912592913031212,'{}','@FOLDER@/photos/tall.png',NULL,0,'done',NULL,NULL,'{"tight": "whole/final/tall.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('whole-e1ccb3',3,'tower',NULL,NULL,556659662088630327,'{}','@FOLDER@/photos/tower.png',NULL,1,'quarantined','too tall: facts.this.height <= 15 is not met (facts.this.height is 30)','small','{}','[]','70fc66425e1b3eb95972277d6ece8f58a7bdecb8765aa058298ad7b7e500070b','small');
INSERT INTO "items" VALUES('whole-e1ccb3',4,'damaged',NULL,NULL,8590775809190724288,'{}','@FOLDER@/photos/damaged.png',NULL,1,'failed','UnreadableImage: The image is damaged: image file is truncated.','photo','{}','[]',NULL,NULL);
INSERT INTO "items" VALUES('whole-e1ccb3',5,'again',NULL,NULL,3368264783928476199,'{}','@FOLDER@/photos/square.png',NULL,1,'done',NULL,NULL,'{"small": "whole/final/again.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',0,'square',NULL,NULL,3396938098760625592,'{}','@FOLDER@/photos/square.png',NULL,0,'done',NULL,NULL,'{"small": "stopped/final/square.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',1,'wide',NULL,NULL,7584601856535875966,'{}','@FOLDER@/photos/wide.png',NULL,0,'done',NULL,NULL,'{"tight": "stopped/final/wide.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',2,'tall',NULL,NULL,7078912592913031212,'{}','@FOLDER@/photos/tall.png',NULL,0,'done',NULL,NULL,'{"tight": "stopped/final/tall.png"}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',3,'tower',NULL,NULL,556659662088630327,'{}','@FOLDER@/photos/tower.png',NULL,1,'pending',NULL,NULL,'{}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',4,'damaged',NULL,NULL,8590775809190724288,'{}','@FOLDER@/photos/damaged.png',NULL,1,'pending',NULL,NULL,'{}','[]',NULL,NULL);
INSERT INTO "items" VALUES('stopped-411d96',5,'again',NULL,NULL,3368264783928476199,'{}','@FOLDER@/photos/square.png',NULL,1,'pending',NULL,NULL,'{}','[]',NULL,NULL);
CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	output VARCHAR NOT NULL, 
	revision VARCHAR NOT NULL, 
	run INTEGER NOT NULL, 
	recipe JSON NOT NULL, 
	model_digests JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	total INTEGER NOT NULL, 
	error TEXT, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, budget FLOAT, review VARCHAR DEFAULT 'end' NOT NULL, overrides JSON, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('whole-e1ccb3','whole','file://@FOLDER@/out','5396f98a8ec4682b8914f3e0dc904317a06ade414665062a850afb3fea81c7bb',1,'{"name": "thumbnails", "steps": [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "require": [{"that": "facts.this.height <= 15", "because": "too tall"}], "on_fail": {"retry": 1, "change": {"small": {"width": [6]}}}, "width": 12}, {"id": "tight", "step": "trim", "when": "facts.photo.width != 24", "by": "border"}]}','{}','incomplete',6,NULL,'2026-11-29 17:15:44.762561','2026-11-29 17:15:44.762561','2026-11-29 17:15:45.419757',NULL,'end','{"parameters": {}, "distinct": null}');
INSERT INTO "jobs" VALUES('stopped-411d96','stopped','file://@FOLDER@/out','5396f98a8ec4682b8914f3e0dc904317a06ade414665062a850afb3fea81c7bb',1,'{"name": "thumbnails", "steps": [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "require": [{"that": "facts.this.height <= 15", "because": "too tall"}], "on_fail": {"retry": 1, "change": {"small": {"width": [6]}}}, "width": 12}, {"id": "tight", "step": "trim", "when": "facts.photo.width != 24", "by": "border"}]}','{}','running',6,NULL,'2026-11-29 17:15:46.380323','2026-11-29 17:15:46.380323',NULL,NULL,'end','{"parameters": {}, "distinct": null}');
CREATE TABLE leases (
	name VARCHAR NOT NULL, 
	holder VARCHAR NOT NULL, 
	beat BIGINT NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('job elsewhere','elsewhere-1/7/1/n',0);
CREATE TABLE model_loads (
	id INTEGER NOT NULL, 
	job_id VARCHAR, 
	run INTEGER, 
	model VARCHAR NOT NULL, 
	worker VARCHAR NOT NULL, 
	seconds FLOAT NOT NULL, 
	loaded_at DATETIME NOT NULL, cost FLOAT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_model_loads PRIMARY KEY (id)
);
CREATE TABLE reviews (
	job_id VARCHAR NOT NULL, 
	item VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	reason TEXT, 
	reviewer TEXT, 
	reviewed_at DATETIME NOT NULL, 
	CONSTRAINT pk_reviews PRIMARY KEY (job_id, item, fingerprint), 
	CONSTRAINT fk_reviews_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE shards (
	job_id VARCHAR NOT NULL, 
	"index" INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	flow_run_id VARCHAR, 
	started JSON NOT NULL, 
	error TEXT, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_shards PRIMARY KEY (job_id, "index"), 
	CONSTRAINT fk_shards_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "shards" VALUES('whole-e1ccb3',0,'pending',NULL,'[]',NULL,'2026-11-29 17:15:44.762561');
INSERT INTO "shards" VALUES('whole-e1ccb3',1,'pending',NULL,'[]',NULL,'2026-11-29 17:15:44.762561');
INSERT INTO "shards" VALUES('stopped-411d96',0,'pending',NULL,'[]',NULL,'2026-11-29 17:15:46.380323');
INSERT INTO "shards" VALUES('stopped-411d96',1,'pending',NULL,'[]',NULL,'2026-11-29 17:15:46.380323');
CREATE TABLE step_runs (
	job_id VARCHAR NOT NULL, 
	"index" INTEGER NOT NULL, 
	step_id VARCHAR NOT NULL, 
	run INTEGER NOT NULL, 
	outcome VARCHAR NOT NULL, 
	seconds FLOAT NOT NULL, 
	root VARCHAR, 
	fingerprint VARCHAR, 
	error TEXT, 
	traceback TEXT, 
	recorded_at DATETIME NOT NULL, cost FLOAT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_step_runs PRIMARY KEY (job_id, "index", step_id), 
	CONSTRAINT fk_step_runs_items FOREIGN KEY(job_id, "index") REFERENCES items (job_id, "index") ON DELETE CASCADE
);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',0,'photo',1,'computed',4.42020000264165e-05,'file://@FOLDER@/out','a8e2756eb96d3b9f6cb658d4a273a3f2d60bdcbe4ddb8e1a993d4987b40950ab',NULL,NULL,'2026-11-29 17:15:45.169720',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',1,'photo',1,'computed',9.39330002438509836792e-05,'file://@FOLDER@/out','391fca4dbb3e1674325e6fb63ac585b8c27cb3aa6924c495c7540eb16b22c88d',NULL,NULL,'2026-11-29 17:15:45.169720',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',2,'photo',1,'computed',7.81310000093071721494e-05,'file://@FOLDER@/out','560184bf45f6a772fb234b857324ed21bc98fe086cf7a8fc2b7494a40145b982',NULL,NULL,'2026-11-29 17:15:45.169720',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',0,'small',1,'computed',2.04727850004928768612e-02,'file://@FOLDER@/out','c2feb89f4ddce90f721ee6a85a6eab2e7e9251c553d6e02e740407611174da1f',NULL,NULL,'2026-11-29 17:15:45.179036',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',1,'small',1,'computed',9.17304500035243108868e-03,'file://@FOLDER@/out','edc682d33351013ef936d2453754039c3c41f284be60e554dfb96847836326b5',NULL,NULL,'2026-11-29 17:15:45.179036',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',2,'small',1,'computed',7.0717000198783352971e-05,'file://@FOLDER@/out','b773f0c7e8c4b49e8569df805c368464bd0642923cfdb55037997e4f0623782c',NULL,NULL,'2026-11-29 17:15:45.179036',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',2,'small~2',1,'computed',6.96450006216764450073e-05,'file://@FOLDER@/out','e585bbf0759aa51c1d55add8b9b6529b4382af7b3eee8d4a0055992dc2c6dafe',NULL,NULL,'2026-11-29 17:15:45.207251',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',0,'tight',1,'skipped',0.0,NULL,NULL,NULL,NULL,'2026-11-29 17:15:45.231972',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',1,'tight',1,'computed',2.64803999925788957625e-04,'file://@FOLDER@/out','7c3409d3eb5fedbe2c1c701c826d5bcb1893ee6a3075ec2a1b28298767990e41',NULL,NULL,'2026-11-29 17:15:45.231972',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',2,'tight',1,'computed',1.60507000146026257425e-04,'file://@FOLDER@/out','57966ecc3f76dc2e6e29c36d6fe71f07f4c57a94f6c1fb2f836acb132c675e45',NULL,NULL,'2026-11-29 17:15:45.231972',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',5,'photo',1,'reused',0.0,'file://@FOLDER@/out','a8e2756eb96d3b9f6cb658d4a273a3f2d60bdcbe4ddb8e1a993d4987b40950ab',NULL,NULL,'2026-11-29 17:15:45.298262',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',4,'photo',1,'failed',0.0,NULL,NULL,'UnreadableImage: The image is damaged: image file is truncated.','Traceback (most recent call last):
  File "PIL/ImageFile.py", line 405, in load
    s = read(read_bytes)
        ^^^^^^^^^^^^^^^^
  File "PIL/PngImagePlugin.py", line 1022, in load_read
    cid, pos, length = self.png.read()
                       ^^^^^^^^^^^^^^^
  File "PIL/PngImagePlugin.py", line 188, in read
    length = i32(s)
             ^^^^^^
  File "PIL/_binary.py", line 98, in i32be
    return unpack_from(">I", c, o)[0]
           ^^^^^^^^^^^^^^^^^^^^^^^
struct.error: unpack_from requires a buffer of at least 4 bytes for unpacking 4 bytes at offset 0 (actual buffer size is 0)

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "storage/image_formats.py", line 42, in reading_errors
    yield
  File "storage/images.py", line 105, in decode
    image.load()
  File "PIL/ImageFile.py", line 412, in load
    raise OSError(msg) from e
OSError: image file is truncated

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "gpu_worker/step_frames.py", line 68, in _frame
    files = {
            ^
  File "gpu_worker/step_frames.py", line 69, in <dictcomp>
    file: self._work.inputs.item_image(getattr(item, file)) for file in self._visit.step.item_files(item)
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "gpu_worker/inputs.py", line 69, in item_image
    return decode(data, max_pixels=self._max_pixels)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "storage/images.py", line 100, in decode
    with reading_errors():
  File "python3.11/contextlib.py", line 158, in __exit__
    self.gen.throw(typ, value, traceback)
  File "storage/image_formats.py", line 50, in reading_errors
    raise UnreadableImage(f"The image is damaged: {error}.") from error
storage.image_formats.UnreadableImage: The image is damaged: image file is truncated.
','2026-11-29 17:15:45.298262',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',3,'photo',1,'computed',6.64519993733847513794e-05,'file://@FOLDER@/out','b498d46f9f0f5166fb7f450cbbe5a909a335e0b1863af631ac65bea43f8c1069',NULL,NULL,'2026-11-29 17:15:45.298262',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',5,'small',1,'reused',0.0,'file://@FOLDER@/out','c2feb89f4ddce90f721ee6a85a6eab2e7e9251c553d6e02e740407611174da1f',NULL,NULL,'2026-11-29 17:15:45.330604',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',3,'small',1,'computed',5.11890002599102444946e-05,'file://@FOLDER@/out','feb3911b53ef0a0df1862edb56f947e1b90ba6819b10d4472d059d8ade51fa72',NULL,NULL,'2026-11-29 17:15:45.330604',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',3,'small~2',1,'computed',5.8169000112684443593e-05,'file://@FOLDER@/out','70fc66425e1b3eb95972277d6ece8f58a7bdecb8765aa058298ad7b7e500070b',NULL,NULL,'2026-11-29 17:15:45.366504',0.0);
INSERT INTO "step_runs" VALUES('whole-e1ccb3',5,'tight',1,'skipped',0.0,NULL,NULL,NULL,NULL,'2026-11-29 17:15:45.402437',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',0,'photo',1,'reused',0.0,'file://@FOLDER@/out','a8e2756eb96d3b9f6cb658d4a273a3f2d60bdcbe4ddb8e1a993d4987b40950ab',NULL,NULL,'2026-11-29 17:15:46.507702',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',1,'photo',1,'reused',0.0,'file://@FOLDER@/out','391fca4dbb3e1674325e6fb63ac585b8c27cb3aa6924c495c7540eb16b22c88d',NULL,NULL,'2026-11-29 17:15:46.507702',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',2,'photo',1,'reused',0.0,'file://@FOLDER@/out','560184bf45f6a772fb234b857324ed21bc98fe086cf7a8fc2b7494a40145b982',NULL,NULL,'2026-11-29 17:15:46.507702',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',0,'small',1,'reused',0.0,'file://@FOLDER@/out','c2feb89f4ddce90f721ee6a85a6eab2e7e9251c553d6e02e740407611174da1f',NULL,NULL,'2026-11-29 17:15:46.526193',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',1,'small',1,'reused',0.0,'file://@FOLDER@/out','edc682d33351013ef936d2453754039c3c41f284be60e554dfb96847836326b5',NULL,NULL,'2026-11-29 17:15:46.526193',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',2,'small',1,'reused',0.0,'file://@FOLDER@/out','b773f0c7e8c4b49e8569df805c368464bd0642923cfdb55037997e4f0623782c',NULL,NULL,'2026-11-29 17:15:46.526193',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',2,'small~2',1,'reused',0.0,'file://@FOLDER@/out','e585bbf0759aa51c1d55add8b9b6529b4382af7b3eee8d4a0055992dc2c6dafe',NULL,NULL,'2026-11-29 17:15:46.554881',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',0,'tight',1,'skipped',0.0,NULL,NULL,NULL,NULL,'2026-11-29 17:15:46.580482',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',1,'tight',1,'reused',0.0,'file://@FOLDER@/out','7c3409d3eb5fedbe2c1c701c826d5bcb1893ee6a3075ec2a1b28298767990e41',NULL,NULL,'2026-11-29 17:15:46.580482',0.0);
INSERT INTO "step_runs" VALUES('stopped-411d96',2,'tight',1,'reused',0.0,'file://@FOLDER@/out','57966ecc3f76dc2e6e29c36d6fe71f07f4c57a94f6c1fb2f836acb132c675e45',NULL,NULL,'2026-11-29 17:15:46.580482',0.0);
CREATE TABLE waits (
	flow_run_id VARCHAR NOT NULL, 
	job_id VARCHAR NOT NULL, 
	since DATETIME NOT NULL, 
	until DATETIME NOT NULL, 
	CONSTRAINT pk_waits PRIMARY KEY (flow_run_id), 
	CONSTRAINT fk_waits_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE INDEX ix_items_job_id_shard_state ON items (job_id, shard, state);
CREATE INDEX ix_model_loads_job_id ON model_loads (job_id);
CREATE INDEX ix_waits_job_id ON waits (job_id);
COMMIT;
